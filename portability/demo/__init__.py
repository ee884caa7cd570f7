"""A rehearsal anyone can run: a synthetic practice, an S3 host on this machine, a migration out of it."""
