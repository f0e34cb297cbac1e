"""The live page: a web server that shows a store's logbook, runs and curves while it trains.

Modules:

- ``app``: the routes and their responses.
- ``connections``: limits on connections.
- ``contents``: the contents of the pages, read from a store.
- ``guard``: host check, token and security headers.
- ``listen``: opens the socket and runs the server.
- ``response_cache``: caches responses until the store changes.
"""
