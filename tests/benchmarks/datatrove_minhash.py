"""datatrove's MinHash with the local executor on a folder of JSON Lines, for dedup_speed.py: signatures, buckets, clusters; nothing is
filtered or written. Imports nothing of Fledge, so that any interpreter with datatrove can run it.

    PYTHON tests/benchmarks/datatrove_minhash.py INPUT OUTPUT WORKERS

Prints one JSON object: seconds of each stage.
"""

import json
import sys
import time
from pathlib import Path


def main() -> None:
    from datatrove.executor.local import LocalPipelineExecutor
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupSignature
    from datatrove.pipeline.readers import JsonlReader

    source, folder, workers = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    config = MinhashConfig()        # 14 buckets of 8 hashes, sequences of 5 words
    stages = (("signatures", [JsonlReader(source), MinhashDedupSignature(str(folder / "signatures"), config)], workers),
              ("buckets", [MinhashDedupBuckets(str(folder / "signatures"), str(folder / "buckets"), config=config)], config.num_buckets),
              ("clusters", [MinhashDedupCluster(str(folder / "buckets"), str(folder / "remove"), config=config)], 1))
    seconds = {}
    for name, steps, tasks in stages:
        began = time.perf_counter()
        LocalPipelineExecutor(pipeline=steps, tasks=tasks, workers=workers, logging_dir=str(folder / "log" / name)).run()
        seconds[name] = time.perf_counter() - began
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()
