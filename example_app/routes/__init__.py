"""The routes: pages for people, and the JSON API of the same."""
