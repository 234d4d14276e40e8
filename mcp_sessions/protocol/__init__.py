"""The Model Context Protocol over HTTP; the only package that imports the SDK.

`endpoint.handle` is the one function behind every entry point.
"""
