#!/bin/sh
# Decides the papers' claims in the background: benchmarks/papers.sh [HOURS] [OUT]. The same command continues.
#
# Cheap experiments come first and have a head start; then each block of seeds goes to the experiment on which the least
# time has been spent. Results in docs/results/ are continued.
# One process, one thread, lowest priority. Afterwards, or in between:
#   python docs/scoreboard.py --write OUT/*-laptop
set -eu
cd "$(dirname "$0")/.."
hours="${1:-35}"
out="${2:-runs/reproduce}"
export OMP_NUM_THREADS=1
python="${PYTHON:-.venv/bin/python}"
"$python" docs/scoreboard.py --restore "$out"
exec nice -n 19 "$python" -m detente reproduce --until decided --max-hours "$hours" --out "$out" \
    dirac_portraits numerics_step_size numerics_spectra numerics_lemmas \
    sgan_early sgan_two_discriminators sgan_coverage sgan_pairs sgan_wgan_toys sgan_uncovered \
    four_gaussians_modes bilinear_race noisy_discriminator numerics_ring \
    zero_one_digits svrg_mode_recovery svrg_digits svrg_full_batch svrg_fashion svrg_batch_sizes \
    noisy_conditional_digits sgan_digits sgan_dcgan sgan_text sgan_literal \
    numerics_divergences numerics_losses numerics_rates numerics_architectures accept_reject_images
