"""Endpoints: server processes behind InvokeEndpoint."""
