package proto

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// frozen are the numbers of the wire: a change of one breaks every peer already out there.
var frozen = []struct {
	name      string
	got, want uint64
}{
	{"HeaderSize", HeaderSize, 8},
	{"FlagsOffset", FlagsOffset, 5},
	{"HandshakeLimit", HandshakeLimit, 4096},
	{"MinFrameLimit", MinFrameLimit, 4096},
	{"PingLimit", PingLimit, 1024},
	{"zstdWindow", zstdWindow, 8 << 20},
	{"maxRatio", maxRatio, 1024},
	{"Version", Version, 1},
	{"AckSize", AckSize, 16},
	{"TaskHeaderSize", TaskHeaderSize, 8},
	{"ResultHeaderSize", ResultHeaderSize, 9},
	{"ChunkHeaderSize", ChunkHeaderSize, 16},
	{"helloSize", helloSize, 56},
	{"welcomeSize", welcomeSize, 64},
	{"endHeaderSize", endHeaderSize, 5},
	{"maxErrorText", maxErrorText, 65535},

	{"KindHello", uint64(KindHello), 0x01},
	{"KindWelcome", uint64(KindWelcome), 0x02},
	{"KindGoodbye", uint64(KindGoodbye), 0x03},
	{"KindAck", uint64(KindAck), 0x04},
	{"KindPing", uint64(KindPing), 0x05},
	{"KindPong", uint64(KindPong), 0x06},
	{"KindDrain", uint64(KindDrain), 0x07},
	{"KindTasks", uint64(KindTasks), 0x10},
	{"KindResults", uint64(KindResults), 0x11},
	{"KindCancel", uint64(KindCancel), 0x12},
	{"KindOpen", uint64(KindOpen), 0x13},
	{"KindChunks", uint64(KindChunks), 0x14},
	{"KindCredit", uint64(KindCredit), 0x15},
	{"KindEnd", uint64(KindEnd), 0x16},
	{"KindAbort", uint64(KindAbort), 0x17},
	{"ExtensionBegun", ExtensionBegun, 1},
	{"ExtensionKey", ExtensionKey, 2},
	{"ExtensionProof", ExtensionProof, 3},
	{"ExtensionCredential", ExtensionCredential, 4},
	{"ExtensionRetryAfter", ExtensionRetryAfter, 5},
	{"ExtensionSuccessor", ExtensionSuccessor, 6},
	{"ExtensionCredit", ExtensionCredit, 7},
	{"FieldRetryAfter", FieldRetryAfter, 5},
	{"FieldMetadata", FieldMetadata, 16},
	{"FieldIdempotencyKey", FieldIdempotencyKey, 17},
	{"FieldClass", FieldClass, 18},
	{"ClassBulk", uint64(ClassBulk), 0},
	{"ClassNormal", uint64(ClassNormal), 1},
	{"ClassUrgent", uint64(ClassUrgent), 2},
	{"FieldsLimit", FieldsLimit, 4096},
	{"IdempotencyKeyLimit", IdempotencyKeyLimit, 64},
	{"CredentialLimit", CredentialLimit, 2048},
	{"SuccessorLimit", SuccessorLimit, 255},
	{"WholeLane", WholeLane, 1<<32 - 1},
	{"extensionHead", extensionHead, 4},
	{"goodbyeHead", goodbyeHead, 4},
	{"KeySize", KeySize, 32},
	{"ProofSize", ProofSize, 32},
	{"MaxClock", MaxClock, 1 << 42},

	{"FlagSkippable", FlagSkippable, 0x01},
	{"flagCompression", flagCompression, 0x06},
	{"FlagFields", FlagFields, 0x08},
	{"FlagMore", FlagMore, 0x10},
	{"flagReserved", uint64(flagReserved), 0xE0},
	{"CompressNone", uint64(CompressNone), 0},
	{"CompressS2", uint64(CompressS2), 1},
	{"CompressZstd", uint64(CompressZstd), 2},

	{"FeatureS2", FeatureS2, 1},
	{"FeatureZstd", FeatureZstd, 2},
	{"helloResume", helloResume, 1},
	{"welcomeResumed", welcomeResumed, 1},
	{"welcomeDraining", welcomeDraining, 2},

	{"GoodbyeDone", uint64(GoodbyeDone), 0},
	{"GoodbyeFull", uint64(GoodbyeFull), 1},
	{"GoodbyeDraining", uint64(GoodbyeDraining), 2},
	{"GoodbyeVersion", uint64(GoodbyeVersion), 3},
	{"GoodbyeNotAllowed", uint64(GoodbyeNotAllowed), 4},
	{"GoodbyeMalformed", uint64(GoodbyeMalformed), 5},
	{"GoodbyeIdle", uint64(GoodbyeIdle), 6},
	{"GoodbyeSuperseded", uint64(GoodbyeSuperseded), 7},
	{"GoodbyeSlow", uint64(GoodbyeSlow), 8},
	{"GoodbyeInternal", uint64(GoodbyeInternal), 9},

	{"StatusOK", uint64(StatusOK), 0},
	{"StatusFailed", uint64(StatusFailed), 1},
	{"StatusPanicked", uint64(StatusPanicked), 2},
	{"StatusTimeout", uint64(StatusTimeout), 3},
	{"StatusCanceled", uint64(StatusCanceled), 4},
	{"StatusBusy", uint64(StatusBusy), 5},
	{"StatusDraining", uint64(StatusDraining), 6},
	{"StatusUnknownSubroutine", uint64(StatusUnknownSubroutine), 7},
	{"StatusUnknownTask", uint64(StatusUnknownTask), 8},
	{"StatusLost", uint64(StatusLost), 9},
	{"StatusNotAllowed", uint64(StatusNotAllowed), 10},

	{"CodeNone", CodeNone, 0},
	{"CodeTooLarge", CodeTooLarge, 1},
	{"CodeWrongShape", CodeWrongShape, 2},
	{"CodeBadArgument", CodeBadArgument, 3},
	{"CodeBadField", CodeBadField, 4},
	{"CodeOwn", CodeOwn, 1024},

	{"ShapeCall", uint64(ShapeCall), 0},
	{"ShapeStream", uint64(ShapeStream), 1},
	{"ShapeSend", uint64(ShapeSend), 2},
	{"ShapeDuplex", uint64(ShapeDuplex), 3},
}

// frozenNames are the names that stand in output files and in messages.
var frozenNames = map[fmt.Stringer]string{
	StatusOK: "ok", StatusFailed: "failed", StatusPanicked: "panicked", StatusTimeout: "timeout", StatusCanceled: "canceled",
	StatusBusy: "busy", StatusDraining: "draining", StatusUnknownSubroutine: "unknown_subroutine",
	StatusUnknownTask: "unknown_task", StatusLost: "lost", StatusNotAllowed: "not_allowed",

	GoodbyeDone: "done", GoodbyeFull: "full", GoodbyeDraining: "draining", GoodbyeVersion: "version",
	GoodbyeNotAllowed: "not allowed", GoodbyeMalformed: "malformed", GoodbyeIdle: "idle", GoodbyeSuperseded: "superseded",
	GoodbyeSlow: "slow", GoodbyeInternal: "internal",

	ShapeCall: "call", ShapeStream: "stream", ShapeSend: "send", ShapeDuplex: "duplex",
	CompressNone: "none", CompressS2: "s2", CompressZstd: "zstd",
}

func TestNumbersFrozen(t *testing.T) {
	for _, c := range frozen {
		if c.got != c.want {
			t.Errorf("%s = %#x, want %#x", c.name, c.got, c.want)
		}
	}
	if Magic != "SHOL" {
		t.Errorf("Magic = %q", Magic)
	}
	if size := len(ID{}); size != 16 {
		t.Errorf("ID of %d bytes", size)
	}
	for value, want := range frozenNames {
		if got := value.String(); got != want {
			t.Errorf("%T %d is %q, want %q", value, value, got, want)
		}
	}
	for k := range 256 {
		if got := Kind(k).Sequenced(); got != (k >= 0x10) {
			t.Errorf("kind %#02x: sequenced %v", k, got)
		}
	}
	for c, want := range map[Compression]uint32{CompressNone: 0, CompressS2: 1, CompressZstd: 2, 3: 0} {
		if got := c.Feature(); got != want {
			t.Errorf("feature of %v: %d, want %d", c, got, want)
		}
	}
	for s := range 256 {
		if got := Status(s).onWire(); got != (s <= 10 && s != 9) {
			t.Errorf("status %d: on the wire %v", s, got)
		}
	}
}

// Every constant of the package is frozen above.
func TestEveryConstantFrozen(t *testing.T) {
	known := map[string]bool{"Magic": true}
	for _, c := range frozen {
		known[c.name] = true
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			group, ok := decl.(*ast.GenDecl)
			if !ok || group.Tok != token.CONST {
				continue
			}
			for _, spec := range group.Specs {
				for _, ident := range spec.(*ast.ValueSpec).Names {
					if !known[ident.Name] {
						t.Errorf("%s: constant %s is not frozen", name, ident.Name)
					}
				}
			}
		}
	}
}

// The tables of the specification name the same numbers as the code.
func TestNumbersInSpecification(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]bool{}
	for line := range strings.Lines(string(doc)) {
		if fields := strings.Fields(line); len(fields) >= 3 && fields[0] == "//" {
			rows[strings.Join(fields[1:3], " ")] = true
			rows[strings.Join(fields[1:min(4, len(fields))], " ")] = true
		}
	}
	for _, c := range frozen {
		if name, ok := strings.CutPrefix(c.name, "Kind"); ok {
			if row := fmt.Sprintf("0x%02x %s", c.got, strings.ToLower(name)); !rows[row] {
				t.Errorf("doc.go has no row %q", row)
			}
		}
	}
	for value, name := range frozenNames {
		switch value.(type) {
		case Status, GoodbyeCode:
			if row := fmt.Sprintf("%d %s", value, strings.ReplaceAll(name, "_", " ")); !rows[row] {
				t.Errorf("doc.go has no row %q", row)
			}
		}
	}
}
