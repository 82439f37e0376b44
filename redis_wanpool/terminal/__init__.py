"""What people read: languages, formats, a screen."""
