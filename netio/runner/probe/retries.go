package probe

import (
	"container/heap"
	"time"
)

// retryQueue holds the jobs that are tried again, each from its time on; the earliest comes first.
type retryQueue struct{ jobs dueJobs }

type dueJob struct {
	job
	due time.Duration
}

func (q *retryQueue) push(due time.Duration, j job) { heap.Push(&q.jobs, dueJob{j, due}) }

// pop returns the first job, if its time has come.
func (q *retryQueue) pop(now time.Duration) (job, bool) {
	if len(q.jobs) == 0 || q.jobs[0].due > now {
		return job{}, false
	}
	return heap.Pop(&q.jobs).(dueJob).job, true
}

// until returns how long it is until pop has a job.
func (q *retryQueue) until(now time.Duration) time.Duration {
	if len(q.jobs) == 0 {
		return waitForEnd
	}
	return max(0, q.jobs[0].due-now)
}

// dueJobs is a heap.
type dueJobs []dueJob

func (h dueJobs) Len() int           { return len(h) }
func (h dueJobs) Less(i, j int) bool { return h[i].due < h[j].due }
func (h dueJobs) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *dueJobs) Push(x any)        { *h = append(*h, x.(dueJob)) }
func (h *dueJobs) Pop() any {
	last := len(*h) - 1
	j := (*h)[last]
	*h = (*h)[:last]
	return j
}
