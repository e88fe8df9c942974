"""The methods of ``asr.v1.Speech``, from their messages to the toolkit's values and back."""
