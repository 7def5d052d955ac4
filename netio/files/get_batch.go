package files

// work is a worker's goroutine.
func (g *getter) work(jobs <-chan getJob) {
	target := newTarget(g.root, g.rules)
	defer target.close()
	in := &receiver{target: target, got: g.moved}
	for job := range jobs {
		if g.ctx.Err() != nil {
			continue // empties the queue
		}
		if err := g.do(in, job); err != nil {
			g.stop(err)
		}
	}
}

func (g *getter) do(in *receiver, job getJob) error {
	if len(job) == 1 && job[0].Size >= largeSize {
		return g.doLarge(in, job[0])
	}
	for len(job) > 0 {
		var retry getJob
		err := g.persist(func() error {
			done, err := g.files(in, job, &retry)
			job = job[done:]
			return err
		})
		if err != nil {
			return err
		}
		job = retry
	}
	return nil
}

// files gets a batch and returns how many of its files have an end.
func (g *getter) files(in *receiver, job getJob, retry *getJob) (done int, err error) {
	argument := []byte{g.Compress.wire()}
	for _, item := range job {
		if argument, err = g.request(argument, in.target, item); err != nil {
			return 0, err
		}
	}
	st, err := g.client.swarm.OpenStream(g.ctx, nameGet, argument)
	if err != nil {
		return 0, err
	}
	defer st.Abort()
	in.in = newChunkReader(st, g.pace)
	for i, item := range job {
		g.flying(item.Entry, true)
		o, failure, err := in.file(item.target(), g.verdictOnly(item))
		g.flying(item.Entry, false)
		if err != nil {
			return i, err
		}
		if failure != nil && !item.tried && worthAnotherTry(failure) {
			item.tried = true
			*retry = append(*retry, item)
			continue
		}
		g.settled(item, o, failure)
	}
	return len(job), nil
}

// request encodes what is asked of one file.
func (g *getter) request(dst []byte, t *target, item getItem) ([]byte, error) {
	want := attributes{size: item.Size, modified: item.Modified}
	if !item.compare {
		return appendRequest(dst, item.Path, want, 0), nil
	}
	have, err := t.sum(item.target())
	if err != nil { // what cannot be compared is no sum's: the verdict is that it differs
		have = sum{}
	}
	flags := byte(wantCompared)
	if g.verdictOnly(item) {
		flags |= wantVerdict
	}
	return append(appendRequest(dst, item.Path, want, flags), have[:]...), nil
}

// verdictOnly says that the content of a file does not come in a batch, even if it differs.
func (g *getter) verdictOnly(item getItem) bool {
	return item.differs != nil || g.DryRun || item.Size >= largeSize
}

// settled reports what became of a file.
func (g *getter) settled(item getItem, o outcome, failure *Error) {
	switch {
	case failure != nil:
		g.fail(item.Entry, &Error{item.Path, failure.Code, failure.Text})
	case o.same:
		g.done.Add(1)
		g.result(item.Entry, Kept, nil)
	case o.diff && item.differs != nil:
		g.fail(item.Entry, fileError(item.Path, item.differs))
	default:
		g.result(item.Entry, Copied, nil)
	}
}
