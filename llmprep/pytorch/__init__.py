"""Ids -> batches: a torch Dataset, a seeded order that resumes, loaders, embeddings. The only room that imports torch.

recipe, rows, mapped    a text, file, store or array -> rows of windows, again in each process
starts, documents       where documents begin in rows, and windows that know them
datasets, batches       rows -> a Dataset and its batches, and those that trainers take
packed                  the rows of whole documents that a packing puts together
transfer                batches on their way from a worker process
sampler, passes         the order of an epoch, and where to go on
shares                  which part of it each rank takes, also after their number has changed
sharing                 what would share a rank's windows out once more
identity                what a state belongs to
mixture, mixture_sources, mixture_rows  several data sets -> one, in which each has its share of the windows
mixture_sampler         the places of such a mixture in order, and where to go on
weighing, stretches     weights, stages and budgets -> what stands in each block, and where that changes
mixing                  which source, and which window of it, stands at a place; these three need no torch
loaders                 DataLoaders with the parameters and batches of the course
first_batches           the first batches of a loader, and how many an epoch has
steps, mixture_plan     steps of a training run -> the windows they saw, and where these are from
embedding               the two tables, and the ids that are embedded through them
embedded                ids -> the bytes of token + positional embeddings, in blocks
"""
