package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/warmpage/pool/benchmarks/internal/catalog"
	"github.com/warmpage/pool/benchmarks/internal/wire"
	"golang.org/x/sys/unix"
)

// Results is results.json. A study that was not run keeps what an earlier run has
// left there.
type Results struct {
	Peers     *Peers     `json:"peers,omitempty"`
	Stops     *Stops     `json:"stops,omitempty"`
	Promotion *Promotion `json:"promotion,omitempty"`
	Memory    *Memory    `json:"memory,omitempty"`
	Growth    *Growth    `json:"growth,omitempty"`
	GoHeap    *GoHeap    `json:"goheap,omitempty"`
	Large     *Large     `json:"large,omitempty"`
	Bytes     *Bytes     `json:"bytes,omitempty"`
}

// A Run says where and how a study was made.
type Run struct {
	CPU        string  `json:"cpu"`
	Cores      int     `json:"cores"`
	GOMAXPROCS int     `json:"gomaxprocs"`
	Kernel     string  `json:"kernel"`
	Go         string  `json:"go"`
	Date       string  `json:"date"`
	Command    string  `json:"command"`
	Smoke      bool    `json:"smoke,omitempty"` // by -quick
	Stolen     float64 `json:"stolen"`          // share of processor time that other virtual machines had
}

// Peers is the comparison of all sides.
type Peers struct {
	Run
	Processes int      `json:"processes"`
	Method    string   `json:"method"`
	Mimalloc  bool     `json:"mimalloc"`
	Figures   []Figure `json:"figures"`
}

// A Figure is one side in one workload.
type Figure struct {
	Workload   string       `json:"workload"`
	Size       int          `json:"size"`
	Mode       catalog.Mode `json:"mode"`
	Side       catalog.Side `json:"side"`
	Baseline   bool         `json:"baseline,omitempty"` // with the library of -baseline
	Noisy      bool         `json:"noisy,omitempty"`    // others used the cores in each process
	NS         []float64    `json:"ns"`                 // a pair, of each process; of the quiet ones if not Noisy
	Median     float64      `json:"median"`
	VsSyncPool *Spread      `json:"vsSyncPool,omitempty"`
	VsSyncx    *Spread      `json:"vsSyncx,omitempty"`   // of this pool only
	VsModernc  *Spread      `json:"vsModernc,omitempty"` // of this pool only
}

// Stops is how long the world takes to stop.
type Stops struct {
	Run
	Processes int           `json:"processes"`
	Stops     int           `json:"stops"` // of each side in each process
	Figures   []StopsFigure `json:"figures"`
}

// A StopsFigure is one side, over the processes, in microseconds.
type StopsFigure struct {
	Side     catalog.Side `json:"side"`
	Baseline bool         `json:"baseline,omitempty"`
	Median   Spread       `json:"median"`
	P99      Spread       `json:"p99"`
}

// Promotion is what it is worth to put the slots of an empty page in order.
type Promotion struct {
	Run
	Processes int               `json:"processes"` // for each churn
	Rounds    int               `json:"rounds"`
	Figures   []PromotionFigure `json:"figures"`
}

// A PromotionFigure is one mode in one churn.
type PromotionFigure struct {
	pageChurn
	Mode   wire.PromotionMode `json:"mode"`
	NS     []float64          `json:"ns"` // a pair, of each process
	Median float64            `json:"median"`
	VsNone Spread             `json:"vsNone"`
	// Counts are those of all processes, without repetition: one, if they depend
	// on nothing but the code.
	Counts    []wire.PromotionCounts `json:"counts"`
	OddRounds int                    `json:"oddRounds"` // in which a process counted something else than in most
}

// Memory is what is resident before, during and after two bursts.
type Memory struct {
	Run
	Objects int           `json:"objects"`
	Sides   []wire.Memory `json:"sides"`
}

// Growth is how cost grows with goroutines and with live objects.
type Growth struct {
	Run
	Goroutines []GoroutinesRow `json:"goroutines"`
	Live       []wire.Live     `json:"live"`
	Skipped    string          `json:"skipped,omitempty"` // what the machine had no room for
}

// A GoroutinesRow is one number of goroutines.
type GoroutinesRow struct {
	Workload   string                   `json:"workload"`
	GOMAXPROCS int                      `json:"gomaxprocs"`
	Goroutines int                      `json:"goroutines"`
	PairsPerS  map[catalog.Side]float64 `json:"pairsPerS"`
}

// GoHeap is what pools on the Go heap cost, and what becomes of slots that nobody puts.
type GoHeap struct {
	Run
	Processes   int              `json:"processes"`
	Method      string           `json:"method"`
	Times       []Figure         `json:"times"`
	Warm        []wire.Warm      `json:"warm,omitempty"`
	Forgotten   []wire.Forgotten `json:"forgotten,omitempty"`
	Collections []CollectionsRow `json:"collections,omitempty"`
	Retention   []wire.Retention `json:"retention,omitempty"`
	Losses      []wire.Losses    `json:"losses,omitempty"`
}

// A CollectionsRow is one side, over the processes.
type CollectionsRow struct {
	Side      catalog.Side `json:"side"`
	Objects   int          `json:"objects"`
	Rounds    int          `json:"rounds"` // in each process
	Millis    Spread       `json:"millis"`
	CPUMillis Spread       `json:"cpuMillis"`
	PauseUS   Spread       `json:"pauseUS"`
	LowUS     Spread       `json:"lowUS"`
}

// Large is what bursts of large objects cost, and what they leave.
type Large struct {
	Run
	Processes int                `json:"processes"`
	Method    string             `json:"method"`
	Figures   []LargeFigure      `json:"figures"`
	Memory    []wire.LargeMemory `json:"memory"`
	Idle      time.Duration      `json:"idle"` // before memory is looked at
	Skipped   []string           `json:"skipped,omitempty"`
}

// A LargeFigure is one side in one kind of burst.
type LargeFigure struct {
	Size       int          `json:"size"`
	Objects    int          `json:"objects"`
	Step       int          `json:"step"` // bytes from one that is written to the next
	Side       catalog.Side `json:"side"`
	Noisy      bool         `json:"noisy,omitempty"`
	NS         []float64    `json:"ns"` // an object, of each process; of the quiet ones if not Noisy
	VsSyncPool Spread       `json:"vsSyncPool"`
	Slow       Spread       `json:"slow"`     // share of Gets
	Releases   Spread       `json:"releases"` // pages in each burst
}

// Bytes is what slices of bytes cost, and what they leave.
type Bytes struct {
	Run
	Processes int                `json:"processes"`
	Method    string             `json:"method"`
	Figures   []BytesFigure      `json:"figures"`
	Memory    []wire.BytesMemory `json:"bursts"`
	Idle      time.Duration      `json:"idle"` // before memory is looked at
	Classes   []wire.BytesClass  `json:"classes"`
}

// A BytesFigure is one side in one workload.
type BytesFigure struct {
	Workload   wire.BytesWorkload `json:"workload"`
	Size       int                `json:"size"` // 0: the mix
	Side       catalog.Side       `json:"side"`
	Noisy      bool               `json:"noisy,omitempty"`
	NS         []float64          `json:"ns"` // a slice, of each process; of the quiet ones if not Noisy
	VsSyncPool Spread             `json:"vsSyncPool"`
	Capacity   float64            `json:"capacity,omitempty"` // for each byte that was asked for
}

const (
	resultsFile = "results.json"
	tableFile   = "table.md"
)

// drop forgets a study.
func (r *Results) drop(study string) {
	switch study {
	case studyPeers:
		r.Peers = nil
	case studyStops:
		r.Stops = nil
	case studyPromotion:
		r.Promotion = nil
	case studyMemory:
		r.Memory = nil
	case studyGrowth:
		r.Growth = nil
	case studyGoHeap:
		r.GoHeap = nil
	case studyLarge:
		r.Large = nil
	case studyBytes:
		r.Bytes = nil
	}
}

// load returns the results in dir, none if there are none yet.
func load(dir string) (Results, error) {
	var r Results
	text, err := os.ReadFile(filepath.Join(dir, resultsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return r, fmt.Errorf("%s of an earlier run: %w", resultsFile, err)
	}
	return r, nil
}

// save writes a line for each figure: a thousand of them, one number a line, would
// be more than anybody reads.
func (r Results) save(dir string) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	for _, start := range []string{`{"workload"`, `{"holder"`, `{"side"`, `{"size"`, `"peers"`, `"stops":{`, `"promotion"`, `"memory"`, `"growth"`, `"goheap"`, `"large":{`, `"bytes":{`, `{"from"`} {
		text = bytes.ReplaceAll(text, []byte(start), []byte("\n"+start))
	}
	return os.WriteFile(filepath.Join(dir, resultsFile), append(text, '\n'), 0o666)
}

// startRun describes this machine now, and what it did meanwhile when the study
// has ended and calls stop.
func startRun(opts options, at time.Time) (stop func() Run) {
	run := Run{
		CPU:        cpuModel(),
		Cores:      runtime.NumCPU(),
		GOMAXPROCS: runtime.GOMAXPROCS(0),
		Kernel:     kernel(),
		Go:         runtime.Version(),
		Date:       at.UTC().Format(time.DateOnly),
		Command:    opts.command,
		Smoke:      opts.smoke,
	}
	stolen, total := processorTime()
	return func() Run {
		s, t := processorTime()
		if t > total {
			run.Stolen = math.Round((s-stolen)/(t-total)*1000) / 1000
		}
		return run
	}
}

// smokeNote is the first line that -quick prints.
const smokeNote = "This is a smoke run (-quick): it shows that everything works. It has too few measurements, and they are too short: do not compare its figures."

func (r Run) String() string {
	s := fmt.Sprintf("%s, %d cores, GOMAXPROCS %d, Linux %s, %s, %s, `%s`", r.CPU, r.Cores, r.GOMAXPROCS, r.Kernel, r.Go, r.Date, r.Command)
	if r.Stolen >= 0.005 {
		s += fmt.Sprintf("; other virtual machines took %.0f %% of the processor time meanwhile", 100*r.Stolen)
	}
	if r.Smoke {
		s += "; **a smoke run: do not compare its figures**"
	}
	return s
}

func cpuModel() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

func kernel() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "unknown"
	}
	// Without what a distribution, or the owner of the machine, calls it.
	version, _, _ := strings.Cut(unix.ByteSliceToString(u.Release[:]), "-")
	return version
}

// processorTime returns the first line of /proc/stat: what was stolen by the
// hypervisor, and all.
func processorTime() (stolen, total float64) {
	const stealField = 8
	text, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(text), "\n")
	for i, field := range strings.Fields(line) {
		x, _ := strconv.ParseFloat(field, 64)
		if i == stealField {
			stolen = x
		}
		if i <= stealField { // those that follow are in the first ones already
			total += x
		}
	}
	return stolen, total
}
