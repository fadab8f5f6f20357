"""What a person starts: the demo, the live platform, and what they show."""
