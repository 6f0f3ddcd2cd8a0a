"""What the alarms would have been: recorded events through the same core, judged with hindsight."""
