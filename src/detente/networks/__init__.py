"""With what: generators and discriminators of the papers."""
