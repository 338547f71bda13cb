"""Features that metrics compare samples by: the digits' classifier, Inception."""
