"""How Redis is reached: URLs, connections, Sentinel, clusters, the embedded server, and what its errors mean."""
