"""Reports: what a migration, an archive or a drill found and proved, as one page for the practice and detail for the auditor."""
