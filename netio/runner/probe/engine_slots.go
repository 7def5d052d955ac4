package probe

// newSlot returns a free slot.
func (e *engine) newSlot() int {
	e.inFlight++
	if n := len(e.free); n > 0 {
		i := e.free[n-1]
		e.free = e.free[:n-1]
		return i
	}
	e.slots = append(e.slots, slot{})
	return len(e.slots) - 1
}

// leave frees a slot, whose connection has been closed or handed over, and takes up what waited for its target.
func (e *engine) leave(i int) {
	target, counted := e.slots[i].target, e.slots[i].counted
	e.slots[i] = slot{older: -1, newer: -1}
	e.free = append(e.free, i)
	e.inFlight--
	e.opts.budget.release(1)
	if !counted {
		return
	}
	t := e.targets[target]
	t.inFlight--
	e.unpark(t, 1)
	if t.inFlight == 0 && len(t.waiting) == 0 && !t.resolving {
		delete(e.targets, target)
	}
}

// appendWaiting puts a slot at the end of those that wait for the network.
func (e *engine) appendWaiting(i int) {
	e.slots[i].older, e.slots[i].newer = e.newest, -1
	if e.newest >= 0 {
		e.slots[e.newest].newer = i
	} else {
		e.oldest = i
	}
	e.newest = i
}

func (e *engine) removeWaiting(i int) {
	s := &e.slots[i]
	if s.older >= 0 {
		e.slots[s.older].newer = s.newer
	} else {
		e.oldest = s.newer
	}
	if s.newer >= 0 {
		e.slots[s.newer].older = s.older
	} else {
		e.newest = s.older
	}
	s.older, s.newer = -1, -1
}
