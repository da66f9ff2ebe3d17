"""The rivals, and ServeCore's own policy with its parts replaced."""
