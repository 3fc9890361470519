"""All runs of the store in this folder, page by page, and nothing else."""

from trackml.tracking import server
from trackml.tracking.queries import search_runs

if __name__ == "__main__":
    print(sum(1 for _ in search_runs(server.connect(), "", newest_first=True)))
