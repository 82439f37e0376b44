"""What may be wrong between the pool and the world: each check looks first, and judges what it saw then."""
