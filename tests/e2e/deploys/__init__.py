"""Workers that die, pause, stop and start, and services that go away meanwhile."""
