"""How many clicks an object takes."""
