"""Ids -> batches: a torch Dataset, a seeded order that resumes, loaders, embeddings. The only room that imports torch.

recipe, rows, mapped    a text, file, store or array -> rows of windows, again in each process
datasets, batches       rows -> a Dataset and its batches
transfer                batches on their way from a worker process
sampler, passes         the order of an epoch, and where to go on
shares                  which part of it each rank takes, also after their number has changed
sharing                 what would share a rank's windows out once more
permutation, identity   a seeded order in constant memory; what a state belongs to
loaders                 DataLoaders with the parameters and batches of the course
first_batches           the first batches of a loader, and how many an epoch has
embedding               the two tables, and the ids that are embedded through them
embedded                ids -> the bytes of token + positional embeddings, in blocks
"""
