"""The model: finding, loading, adapting, running forward, generating."""
