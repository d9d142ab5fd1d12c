"""One clock for all cameras: from their sound, from the hand that all of them see, or set by a person."""
