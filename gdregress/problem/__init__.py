"""What is minimised: losses, penalties, and the objectives that are made of them and of rows."""
