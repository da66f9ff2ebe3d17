"""Flower: `celery flower --conf=flowerconfig.py`. Each setting can be given as FLOWER_<NAME> as well.

FLOWER_BASIC_AUTH=user:password (several: with commas) is required; Flower then asks for it on its pages and its API.
FLOWER_PERSISTENT=true with FLOWER_DB=<file> keeps what was seen over a restart.
"""

import os

basic_auth = [pair for pair in os.environ.get("FLOWER_BASIC_AUTH", "").split(",") if pair]
if not all(pair.partition(":")[0] and pair.partition(":")[2] for pair in basic_auth or [""]):
    raise SystemExit("Set FLOWER_BASIC_AUTH=user:password: without it, anybody who reaches Flower can look into it and stop workers.")

natural_time = True
tasks_columns = "name,uuid,state,kwargs,result,received,started,runtime,worker"
max_tasks = int(os.environ.get("FLOWER_MAX_TASKS", "20000"))
persistent = os.environ.get("FLOWER_PERSISTENT", "").lower() in ("1", "true", "yes")
db = os.environ.get("FLOWER_DB", "flower")
state_save_interval = 60_000 if persistent else 0  # milliseconds
purge_offline_workers = 3600  # seconds
