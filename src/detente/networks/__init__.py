"""Networks: generators and discriminators from the papers."""
