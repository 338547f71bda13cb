"""All derivatives of the project; no other package computes any.

Convention: v(x) stacks each player's gradient of its own loss, and J = v'(x).
"""

from detente.autodiff.dense_jacobian import jacobian as jacobian
from detente.autodiff.engines import Evaluation as Evaluation
from detente.autodiff.field import player_gradient as player_gradient
from detente.autodiff.field import vector_field as vector_field
from detente.autodiff.input_gradients import constant_gradient as constant_gradient
from detente.autodiff.input_gradients import constant_gradient_norm as constant_gradient_norm
from detente.autodiff.input_gradients import input_gradient as input_gradient
from detente.autodiff.input_gradients import output_gradient as output_gradient
from detente.autodiff.jacobian_products import field_products as field_products
from detente.autodiff.jacobian_products import jacobian_vector as jacobian_vector
from detente.autodiff.jacobian_products import linearization as linearization
from detente.autodiff.jacobian_products import transposed_jacobian as transposed_jacobian
from detente.autodiff.jacobian_products import vector_jacobian as vector_jacobian
from detente.autodiff.per_sample import gradient_covariance as gradient_covariance
from detente.autodiff.per_sample import per_sample_gradients as per_sample_gradients
from detente.autodiff.per_sample import through_layers as through_layers
from detente.autodiff.unrolled import unrolled_gradient as unrolled_gradient
