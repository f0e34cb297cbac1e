#!/bin/bash
#SBATCH --job-name=attention-norms
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --signal=B:USR1@60
#SBATCH --dependency=singleton

# Trains an experiment on all nodes of the job. Sixty seconds before the limit, SLURM sends SIGUSR1
# to this script, which passes a SIGTERM to the command alone: Ray has to live until all is saved.
port=6379
export RAY_USAGE_STATS_ENABLED=0
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$(srun --overlap --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address | cut -d ' ' -f 1):$port

srun --overlap --nodes=1 --ntasks=1 --nodelist="$head" \
    ray start --head --port=$port --num-cpus="$SLURM_CPUS_PER_TASK" --include-dashboard=false --block &
until ray health-check --address "$address" 2>/dev/null; do sleep 1; done
if [ "$SLURM_JOB_NUM_NODES" -gt 1 ]; then
    others=$((SLURM_JOB_NUM_NODES - 1))
    srun --overlap --nodes=$others --ntasks=$others --exclude="$head" \
        ray start --address="$address" --num-cpus="$SLURM_CPUS_PER_TASK" --block &
fi

ablab run "${1:-attention-norms}" --store "${2:-lab}" --executor ray --address "$address" \
    --workers $((SLURM_JOB_NUM_NODES * SLURM_CPUS_PER_TASK)) &
command=$!
trap 'kill -TERM $command' USR1
wait $command
code=$?
if [ $code -gt 128 ]; then # the signal ended the wait, not the command
    wait $command
    code=$?
fi
ray stop
exit $code
