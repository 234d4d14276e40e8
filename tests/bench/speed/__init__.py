"""The app beside the official SDK's own server: the same tools, the same clients, in turns."""
