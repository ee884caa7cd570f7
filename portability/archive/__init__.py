"""Archives: a bag that holds a dataset with its evidence, verified by anyone, read and written as a place."""
