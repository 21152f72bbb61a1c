"""What a scaling policy would have done with a trace of traffic."""
