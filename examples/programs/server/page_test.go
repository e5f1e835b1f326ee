package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var pictures = flag.String("pictures", "", "let TestPage write pictures of the page to this `directory`")

// A browser is a browser with one open tab.
type browser struct {
	ctx context.Context

	mu    sync.Mutex
	bad   []string        // exceptions and messages on the console
	hosts map[string]bool // hosts that the page has sent requests to
}

// openBrowser starts a headless browser, or skips the test if none is installed.
func openBrowser(t *testing.T) *browser {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Skip("no browser to open the page in: apt-get install -y chromium")
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-sync", true))
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), opts...)
	t.Cleanup(cancel)
	ctx, closeTab := chromedp.NewContext(ctx)
	t.Cleanup(func() {
		assert.NoError(t, chromedp.Cancel(ctx)) // waits for the browser to end
		closeTab()
	})
	b := &browser{ctx: ctx, hosts: make(map[string]bool)}
	require.NoError(t, chromedp.Listen(ctx, b.note))
	return b
}

// note records an event of the page.
func (b *browser) note(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		b.bad = append(b.bad, "exception: "+e.ExceptionDetails.Text)
	case *runtime.EventConsoleAPICalled:
		b.bad = append(b.bad, fmt.Sprintf("console.%s", e.Type))
	case *cdplog.EventEntryAdded:
		b.bad = append(b.bad, fmt.Sprintf("log: %s: %s", e.Entry.Source, e.Entry.Text))
	case *network.EventRequestWillBeSent:
		if u, err := url.Parse(e.Request.URL); err == nil && u.Scheme != "data" {
			b.hosts[u.Host] = true
		}
	}
}

// noted returns the messages and the hosts so far.
func (b *browser) noted() (bad []string, hosts map[string]bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	hosts = make(map[string]bool)
	for h := range b.hosts {
		hosts[h] = true
	}
	return append(bad, b.bad...), hosts
}

// do performs steps in the browser.
func (b *browser) do(t *testing.T, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, waitTime)
	defer cancel()
	require.NoError(t, chromedp.Do(ctx, steps...))
}

// text returns the value of an expression, which must be a string.
func (b *browser) text(t *testing.T, expression string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, waitTime)
	defer cancel()
	s, err := chromedp.Run(ctx, chromedp.Evaluate[string](expression))
	require.NoError(t, err)
	return s
}

// wait waits until an expression is true.
func (b *browser) wait(t *testing.T, expression string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 2*waitTime)
	defer cancel()
	_, err := chromedp.Run(ctx, chromedp.Poll[bool](expression, chromedp.WithPollingInterval(20*time.Millisecond), chromedp.WithPollingTimeout(waitTime)))
	require.NoError(t, err, expression)
}

// picture sets the colour scheme and, with -pictures, saves a picture of the page.
func (b *browser) picture(t *testing.T, name, scheme string) {
	t.Helper()
	b.do(t, chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		_, err := cdp.Call(ctx, tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return err
	}))
	if *pictures == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(*pictures, name+".png"), png, 0o666))
}

// stats returns the sample at /stats.
func (r *running) stats(t *testing.T) (s sample) {
	t.Helper()
	_, text, _ := ask(t, "GET", "http://"+r.addresses().Ops+"/stats", "")
	require.NoError(t, json.Unmarshal([]byte(text), &s))
	return s
}

func TestPage(t *testing.T) {
	b := openBrowser(t)
	for _, v := range variants {
		c := testConfig(v)
		c.Sample = 50 * time.Millisecond
		r := start(t, c)
		r.ask(t, "POST", "/sessions?kind=member&first=0&count=4321", "")
		b.do(t, chromedp.EmulateViewport(1100, 900), chromedp.Navigate("http://"+r.addresses().Ops+"/"))
		for i := range 20 {
			r.ask(t, "POST", fmt.Sprintf("/sessions/%d/trades", i), "B 1 1\nS 2 2\n")
		}
		eventually(t, func() bool { return r.liveScratch() == 0 }, "the slots must be back")
		b.wait(t, `document.body.dataset.samples >= 10`)
		// The curves have a point for each sample.
		b.wait(t, `document.querySelector("#memory [data-name=live]").getAttribute("d").split("L").length >= 20`)
		b.wait(t, `document.querySelector("#purged-chart [data-name=purged]").getAttribute("d").split("L").length >= 10`)
		// There are no more requests now, so the page must show what /stats says.
		s := r.stats(t)
		for i, name := range []string{"scratch", "sessions"} {
			b.wait(t, fmt.Sprintf(`document.querySelector("#row-%s [data-key=Live]").textContent.replaceAll(",", "") === "%d"`, name, s.Sources[i].Live))
			b.wait(t, fmt.Sprintf(`document.querySelector("#row-%s [data-key=SlotSize]").textContent.replaceAll(",", "") === "%d"`, name, s.Sources[i].SlotSize))
			b.wait(t, fmt.Sprintf(`document.querySelector("#row-%s [data-key=FailedGets]").textContent === "%d"`, name, s.Sources[i].FailedGets))
		}
		assert.Equal(t, 4321, s.Sources[1].Live)
		b.wait(t, fmt.Sprintf(`document.querySelector("#live").textContent === "%.1f MiB"`, float64(s.Memory.Live)/mib))
		b.wait(t, fmt.Sprintf(`document.querySelector("#foot").textContent.includes("answered: %d, refused: 0")`, s.Answered))
		assert.Equal(t, "connected", b.text(t, `document.querySelector("#status").textContent`))
		assert.Contains(t, b.text(t, `document.querySelector("#memory-text").textContent`), "Now: live ")
		if v == usePool {
			b.wait(t, `document.querySelector("#row-scratch [data-key=LimitBytes]").textContent === "64 MiB"`)
		}
		// The arrow keys select earlier samples.
		b.do(t, chromedp.Focus("#memory"), chromedp.KeyEvent(kb.ArrowLeft))
		b.wait(t, `document.querySelector("#memory .cursor") !== null && document.querySelector("#slow-at").textContent.match(/^\d\d:\d\d:\d\d: scratch/) !== null`)
		b.do(t, chromedp.KeyEvent(kb.Escape))
		b.wait(t, `document.querySelector("#memory .cursor") === null`)
		b.picture(t, string(v)+"-dark", "dark")
		dark := b.text(t, `getComputedStyle(document.body).backgroundColor`)
		b.picture(t, string(v)+"-light", "light")
		assert.NotEqual(t, dark, b.text(t, `getComputedStyle(document.body).backgroundColor`))

		bad, hosts := b.noted()
		assert.Empty(t, bad, "messages on the console")
		assert.True(t, hosts[r.addresses().Ops])
		for h := range hosts {
			assert.True(t, strings.HasPrefix(h, "127.0.0.1:"), h)
		}
		b.do(t, chromedp.Navigate("about:blank")) // so that the page sends no more requests
	}
}

// An open page continues by itself after the server restarts.
func TestPageReconnects(t *testing.T) {
	b := openBrowser(t)
	c := testConfig(usePool)
	r := start(t, c)
	r.ask(t, "POST", "/sessions?kind=member&first=0&count=100", "")
	b.do(t, chromedp.Navigate("http://"+r.addresses().Ops+"/"))
	b.wait(t, `document.querySelector("#row-sessions [data-key=Live]")?.textContent === "100"`)
	process := b.text(t, `document.body.dataset.process`)
	require.NoError(t, r.end())
	b.wait(t, `document.querySelector("#status").textContent.match(/^disconnected since \d\d:\d\d:\d\d, trying again$/) !== null`)
	b.picture(t, "disconnected", "light")
	bad, _ := b.noted()
	for _, text := range bad {
		assert.Contains(t, text, "ERR_", "no message other than that the server is gone")
	}

	c.OpsAddress = r.addresses().Ops
	restarted := time.Now().UnixMilli()
	again := start(t, c)
	again.ask(t, "POST", "/sessions?kind=member&first=0&count=42", "")
	b.wait(t, `document.querySelector("#status").textContent === "connected"`)
	b.wait(t, `document.querySelector("#row-sessions [data-key=Live]").textContent === "42"`)
	assert.NotEqual(t, process, b.text(t, `document.body.dataset.process`))
	b.wait(t, fmt.Sprintf(`document.body.dataset.samples >= 3 && document.body.dataset.since >= %d`, restarted)) // no sample of the old process is drawn
	b.do(t, chromedp.Navigate("about:blank"))
}

// Events continue where a page was cut off. From a new process, they come from the start.
func TestEvents(t *testing.T) {
	r := start(t, testConfig(usePool))
	read := func(last string, n int) (ids []string, samples []sample) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), waitTime)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.addresses().Ops+"/events", nil)
		require.NoError(t, err)
		req.Header.Set("Last-Event-ID", last)
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		assert.Equal(t, "text/event-stream", resp.Header.Get("Content-Type"))
		lines := bufio.NewScanner(resp.Body)
		for len(samples) < n && lines.Scan() {
			if id, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
				ids = append(ids, id)
			}
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				var s sample
				require.NoError(t, json.Unmarshal([]byte(data), &s))
				samples = append(samples, s)
			}
		}
		require.Len(t, samples, n, "%v", lines.Err())
		return ids, samples
	}
	ids, samples := read("", 5)
	for i, s := range samples {
		assert.EqualValues(t, i+1, s.Sequence)
		assert.Equal(t, fmt.Sprintf("%s.%d", s.Process, s.Sequence), ids[i])
	}
	_, samples = read(ids[2], 3)
	assert.EqualValues(t, 4, samples[0].Sequence)
	_, samples = read("other.3", 1)
	assert.EqualValues(t, 1, samples[0].Sequence)
	eventually(t, func() bool { return r.ops.listeners.Load() == 0 }, "a listener that disconnects must not be counted")
}
