"""Virtual engines, apps and rivals around the real ServeCore, in virtual time."""
