package main

import (
	"bytes"
	"fmt"
	"io"
	"math/big"
	"strconv"
	"strings"
	"time"
)

// statusOK is the one status whose response is output, and that exit status 0 asks of every task.
const statusOK = "ok"

// statusOrder is how the closing line lists them; a status beyond these counts as "other".
var statusOrder = [...]string{statusOK, "failed", "panicked", "timeout", "canceled", "busy", "draining",
	"unknown_subroutine", "unknown_task", "lost", "not_allowed", statusUnreachable, "other"}

// statusUnreachable is that of a task that no gateway took: it did not run.
const statusUnreachable = "unreachable"

// summary counts results for the closing line. Useful at zero; one goroutine owns it.
type summary struct {
	elapsed   time.Duration // set by the caller before the summary is shown
	skipped   int           // malformed lines that were not sent
	unsent    int           // tasks that were not sent either, since the run was interrupted
	before    doneBefore    // tasks that were not sent, since the job log has them
	hadEnough bool          // whoever reads the results has gone: what was cancelled by that counts for nothing

	total   int
	counts  [len(statusOrder)]int
	sum     decimalSum
	noSum   bool // some ok response was no number
	lastPos int  // where the last status stands: most results have the same as the one before
}

// statusPlace is where a status stands in statusOrder.
func statusPlace(name string) int {
	for i, status := range statusOrder {
		if status == name {
			return i
		}
	}
	return len(statusOrder) - 1
}

// exitOf is the exit status that a task's status asks for. That of an unknown outcome is above that of a failure, because such
// a task may have run: whoever runs the rest again must look first.
func exitOf(status string) int {
	switch status {
	case statusOK:
		return exitOK
	case "timeout", "lost":
		return exitUnknown
	case statusUnreachable:
		return exitUnreachable
	}
	return exitFailed
}

func (s *summary) add(r *record) {
	s.total++
	if statusOrder[s.lastPos] != r.Status {
		s.lastPos = statusPlace(r.Status)
	}
	s.counts[s.lastPos]++
	if r.Status == statusOK && !s.noSum {
		s.noSum = !s.sum.add(r.Response)
	}
}

// String is a line such as `512 tasks: 510 ok, 2 lost; 1.004 s, 510 tasks/s; sum 510`. The sum is that of the ok responses,
// and stands there only when each is a decimal number.
func (s *summary) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d ok", counted(s.total, "task"), s.counts[0])
	for i, n := range s.counts[1:] {
		if n > 0 {
			fmt.Fprintf(&b, ", %d %s", n, statusOrder[i+1])
		}
	}
	fmt.Fprintf(&b, "; %.3f s", s.elapsed.Seconds())
	if s.elapsed > 0 && s.total > 0 {
		fmt.Fprintf(&b, ", %s tasks/s", formatRate(float64(s.total)/s.elapsed.Seconds()))
	}
	if s.counts[0] > 0 && !s.noSum {
		fmt.Fprintf(&b, "; sum %s", s.sum.String())
	}
	if s.before.tasks > 0 {
		fmt.Fprintf(&b, "; %s done before", counted(s.before.tasks, "task"))
		if s.before.notOK > 0 {
			fmt.Fprintf(&b, ", %d not with ok: --resume-failed runs these again", s.before.notOK)
		}
	}
	if s.unsent > 0 {
		fmt.Fprintf(&b, "; %s not sent", counted(s.unsent, "task"))
	}
	if s.skipped > 0 {
		fmt.Fprintf(&b, "; %s skipped", counted(s.skipped, "malformed line"))
	}
	return b.String()
}

func (s *summary) write(w io.Writer) error {
	_, err := io.WriteString(w, s.String()+"\n")
	return err
}

// exitCode is that of the process when nothing else went wrong: 0 when every task of the whole job is ok, 5 when no gateway took
// some, 4 when some timed out or were lost, else 3.
func (s *summary) exitCode() int {
	code := s.before.exit
	for i, status := range statusOrder {
		if s.counts[i] > 0 && !(s.hadEnough && status == "canceled") {
			code = max(code, exitOf(status))
		}
	}
	if s.unsent > 0 && !s.hadEnough {
		code = max(code, exitFailed)
	}
	return code
}

// decimalSum adds decimal numbers without loss. Useful at zero.
type decimalSum struct {
	small [smallDigits + 1]int64 // by the number of decimals; what a sum outgrows goes to large
	large big.Rat
}

const (
	smallDigits = 18   // as many always fit an int64
	maxDigits   = 1000 // a response longer than this is text, not a number
	maxExponent = 400  // beyond what float64 holds; a larger one would only cost memory
)

// add reports whether text, but for spaces around it, is a decimal number, and adds it.
func (s *decimalSum) add(text []byte) bool {
	text = bytes.TrimSpace(text)
	if len(text) > maxDigits {
		return false
	}
	var value int64
	digits, decimals, i, point := 0, 0, 0, false
	if i < len(text) && (text[i] == '-' || text[i] == '+') {
		i++
	}
	for ; i < len(text); i++ {
		if c := text[i]; c >= '0' && c <= '9' {
			value = value*10 + int64(c-'0') // overflows unseen, and is not used, beyond smallDigits
			digits++
			if point {
				decimals++
			}
		} else if c == '.' && !point {
			point = true
		} else {
			break
		}
	}
	if digits == 0 {
		return false
	}
	if i < len(text) || digits > smallDigits {
		return s.addLarge(text, i)
	}
	if text[0] == '-' {
		value = -value
	}
	if sum := s.small[decimals] + value; (sum > value) == (s.small[decimals] > 0) {
		s.small[decimals] = sum
	} else { // overflow
		s.large.Add(&s.large, scaled(s.small[decimals], decimals))
		s.small[decimals] = value
	}
	return true
}

// addLarge adds text, which has a decimal number up to mantissa; only an exponent may follow.
func (s *decimalSum) addLarge(text []byte, mantissa int) bool {
	if rest := text[mantissa:]; len(rest) > 0 {
		if rest[0] != 'e' && rest[0] != 'E' {
			return false
		}
		if e, err := strconv.Atoi(string(rest[1:])); err != nil || e < -maxExponent || e > maxExponent {
			return false
		}
	}
	r, ok := new(big.Rat).SetString(string(text))
	if ok {
		s.large.Add(&s.large, r)
	}
	return ok
}

// String is the sum with no more decimals than it needs; as a float64 where that would be unreadably many.
func (s *decimalSum) String() string {
	sum := new(big.Rat).Set(&s.large)
	for decimals, value := range s.small {
		sum.Add(sum, scaled(value, decimals))
	}
	decimals, exact := sum.FloatPrec()
	if !exact || decimals > 2*smallDigits {
		f, _ := sum.Float64()
		return strconv.FormatFloat(f, 'g', -1, 64)
	}
	return sum.FloatString(decimals)
}

// scaled is value / 10^decimals.
func scaled(value int64, decimals int) *big.Rat {
	return new(big.Rat).SetFrac(big.NewInt(value), new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(decimals)), nil))
}
