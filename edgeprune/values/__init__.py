"""What flows between the stages: frozen dataclasses, standard library only, one idea a file."""
