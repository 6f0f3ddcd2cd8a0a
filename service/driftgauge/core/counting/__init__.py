"""From a batch of events to what one commit interval adds to each stream's panes; no state is kept."""
