package proto

import "encoding/binary"

// Sizes of what stands before the bytes of one entry.
const (
	TaskHeaderSize   = 8
	ResultHeaderSize = 9
)

// TasksHeaderSize returns the size of what stands before the first task in the payload of a tasks frame.
func TasksHeaderSize(name string) int { return 9 + len(name) }

// AppendTasksHeader appends what stands before the first task: the deadline and the subroutine's name, 1 to 255 bytes.
func AppendTasksHeader(dst []byte, deadline uint64, name string) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, deadline)
	dst = append(dst, byte(len(name)))
	return append(dst, name...)
}

// ParseTasksHeader reads the start of a tasks payload; rest holds the tasks. Name and rest alias src.
func ParseTasksHeader(src []byte) (deadline uint64, name, rest []byte, err error) {
	if len(src) < 9 {
		return 0, nil, nil, malformed("tasks of %d bytes", len(src))
	}
	deadline = binary.LittleEndian.Uint64(src)
	name, rest, err = parseName(src[8:])
	switch {
	case err == nil && len(rest) == 0:
		err = malformed("tasks without a task")
	case err == nil && deadline > MaxClock:
		err = malformed("deadline %d", deadline)
	}
	return deadline, name, rest, err
}

// AppendTask appends one task to the payload of a tasks frame.
func AppendTask(dst []byte, id uint32, body []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, id)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(body)))
	return append(dst, body...)
}

// NextTask reads the task at the start of src, which is not empty. Body and rest alias src.
func NextTask(src []byte) (id uint32, body, rest []byte, err error) {
	if len(src) < TaskHeaderSize {
		return 0, nil, nil, malformed("task header of %d bytes", len(src))
	}
	size := uint64(binary.LittleEndian.Uint32(src[4:]))
	if uint64(len(src)-TaskHeaderSize) < size {
		return 0, nil, nil, malformed("task of %d bytes, %d left", size, len(src)-TaskHeaderSize)
	}
	end := TaskHeaderSize + int(size)
	return binary.LittleEndian.Uint32(src), src[TaskHeaderSize:end:end], src[end:], nil
}

// AppendResult appends one result to the payload of a results frame.
func AppendResult(dst []byte, id uint32, status Status, body []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, id)
	dst = append(dst, byte(status))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(body)))
	return append(dst, body...)
}

// Result is one result as it came; Body aliases the parsed bytes.
type Result struct {
	ID     uint32
	Status Status
	Body   []byte
}

// NextResult reads the result at the start of src, which is not empty. Rest aliases src.
func NextResult(src []byte) (r Result, rest []byte, err error) {
	if len(src) < ResultHeaderSize {
		return Result{}, nil, malformed("result header of %d bytes", len(src))
	}
	size := uint64(binary.LittleEndian.Uint32(src[5:]))
	if uint64(len(src)-ResultHeaderSize) < size {
		return Result{}, nil, malformed("result of %d bytes, %d left", size, len(src)-ResultHeaderSize)
	}
	end := ResultHeaderSize + int(size)
	r = Result{ID: binary.LittleEndian.Uint32(src), Status: Status(src[4]), Body: src[ResultHeaderSize:end:end]}
	if !r.Status.onWire() {
		return Result{}, nil, malformed("result with %v", r.Status)
	}
	return r, src[end:], nil
}

// AppendCancel appends the id of a task to the payload of a cancel frame.
func AppendCancel(dst []byte, id uint32) []byte { return binary.LittleEndian.AppendUint32(dst, id) }

// NextCancel reads the id at the start of src, which is not empty.
func NextCancel(src []byte) (id uint32, rest []byte, err error) {
	if len(src) < 4 {
		return 0, nil, malformed("cancel with %d bytes left", len(src))
	}
	return binary.LittleEndian.Uint32(src), src[4:], nil
}

// parseName reads a name with its length before it.
func parseName(src []byte) (name, rest []byte, err error) {
	size := int(src[0])
	if size == 0 {
		return nil, nil, malformed("empty subroutine name")
	}
	if len(src)-1 < size {
		return nil, nil, malformed("name of %d bytes, %d left", size, len(src)-1)
	}
	return src[1 : 1+size : 1+size], src[1+size:], nil
}
