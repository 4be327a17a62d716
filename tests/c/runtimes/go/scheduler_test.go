package scheduler

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
)

const (
	model = "llama-3-8b"
	now   = "2025-10-21T10:00:00Z"
)

func json(timestamp string) string {
	return fmt.Sprintf(`{"hive_id":"gpu-1","timestamp":"%s","workers":[{"worker_id":"a","state":"Idle",`+
		`"last_heartbeat":"2025-10-21T10:00:00Z","health_status":"healthy","url":"http://10.0.0.1:9300",`+
		`"model_id":"llama-3-8b","max_concurrency":1}]}`, timestamp)
}

// Two hives, a worker of one place on each: one heartbeat as JSON, one as a struct.
func fleet(t *testing.T) registry {
	it, err := newRegistry(1_761_040_800_000)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(it.free)
	beats(t, it)
	return it
}

func beats(t *testing.T, it registry) {
	if registered, err := it.ingest(json(now)); !registered || err != nil {
		t.Fatal(registered, err)
	}
	if err := it.beat("gpu-2", now, []worker{{"b", model, 1}}); err != nil {
		t.Fatal(err)
	}
}

func reserve(t *testing.T, it registry) *reservation {
	held, err := it.reserve(model)
	if err != nil {
		t.Fatal(err)
	}
	return held
}

func TestAReleasedPlaceIsTakenAgain(t *testing.T) {
	it := fleet(t)
	first, second := reserve(t, it), reserve(t, it)
	if full := reserve(t, it); full != nil {
		t.Fatal(full.id)
	}
	urls := map[string]string{first.id: first.url, second.id: second.url}
	if !reflect.DeepEqual(urls, map[string]string{"a": "http://10.0.0.1:9300", "b": ""}) {
		t.Fatal(urls)
	}
	first.release()
	again := reserve(t, it)
	if again == nil || again.id != first.id {
		t.Fatal(again)
	}
	again.release()
	second.release()
}

func TestAPolicyIsAFunctionOfGo(t *testing.T) {
	it := fleet(t)
	// Of whom nothing is said here is passed over.
	for want, scores := range map[string]map[string]float64{
		"a": {"a": 1, "b": 2}, "b": {"a": 2, "b": 1}, "": {},
	} {
		picked, err := it.pick(model, func(worker string) (float64, bool) {
			number, some := scores[worker]
			return number, some
		})
		if picked != want || err != nil {
			t.Fatal(picked, err, scores)
		}
	}
	picked, err := it.pick(model, func(string) (float64, bool) { panic("no score") })
	if picked != "" || err != nil {
		t.Fatal(picked, err)
	}
}

func TestEachGoroutineIsToldItsOwnError(t *testing.T) {
	it := fleet(t)
	var all sync.WaitGroup
	for at := 0; at < 16; at++ {
		all.Add(1)
		go func(wrong string) {
			defer all.Done()
			for beat := 0; beat < 2000; beat++ {
				if _, err := it.ingest(json(wrong)); err == nil || !strings.Contains(err.Error(), `"`+wrong+`"`) {
					t.Error(wrong, err)
					return
				}
			}
		}(fmt.Sprint("noon ", at))
	}
	all.Wait()
}

func TestAHandleKeepsTheErrorWhateverThreadTheGoroutineIsOn(t *testing.T) {
	it := fleet(t)
	var all sync.WaitGroup
	for at := 0; at < 16; at++ {
		own, err := it.clone()
		if err != nil {
			t.Fatal(err)
		}
		all.Add(1)
		go func(wrong string) {
			defer all.Done()
			defer own.free()
			for beat := 0; beat < 2000; beat++ {
				if words := own.refused(json(wrong)); !strings.Contains(words, `"`+wrong+`"`) {
					t.Error(wrong, words)
					return
				}
			}
		}(fmt.Sprint("noon ", at))
	}
	all.Wait()
}

func TestEventsComeInTimeOrNot(t *testing.T) {
	it, err := newRegistry(1_761_040_800_000)
	if err != nil {
		t.Fatal(err)
	}
	defer it.free()
	kinds, err := it.subscribe(16, 1000)
	if err != nil {
		t.Fatal(err)
	}
	beats(t, it)
	var came []string
	for kind := range kinds {
		came = append(came, kind)
	}
	want := []string{"hive registered", "worker added", "hive registered", "worker added", "HIVE_TIMEOUT"}
	if !reflect.DeepEqual(came, want) {
		t.Fatal(came)
	}
}
