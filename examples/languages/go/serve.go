// Serves calls through /dev/hyperlight: one line of JSON for a call, one for its reply.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

type call struct {
	Call string            `json:"call"`
	Args []json.RawMessage `json:"args"`
}

type answer struct {
	Result json.RawMessage `json:"result"`
	Error  *string         `json:"error"`
}

var (
	device   *os.File
	requests *bufio.Reader
	served   int
)

func say(message any) {
	line, err := json.Marshal(message)
	if err == nil {
		_, err = device.Write(append(line, '\n'))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func read(message any) error {
	line, err := requests.ReadBytes('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(line, message)
}

// host calls a function of the host application.
func host(name string, args ...any) (json.RawMessage, error) {
	var reply answer
	say(map[string]any{"host": name, "args": args})
	if err := read(&reply); err != nil {
		return nil, err
	}
	if reply.Error != nil {
		return nil, errors.New(*reply.Error)
	}
	return reply.Result, nil
}

// take decodes the arguments of a call.
func take(args []json.RawMessage, to ...any) error {
	if len(args) != len(to) {
		return fmt.Errorf("%d arguments, not %d", len(to), len(args))
	}
	for i := range args {
		if err := json.Unmarshal(args[i], to[i]); err != nil {
			return err
		}
	}
	return nil
}

var functions = map[string]func([]json.RawMessage) (any, error){
	"add": func(args []json.RawMessage) (any, error) {
		var a, b int64
		err := take(args, &a, &b)
		return a + b, err
	},
	"greet": func(args []json.RawMessage) (any, error) {
		var name string
		err := take(args, &name)
		return "hello, " + name, err
	},
	"shout": func(args []json.RawMessage) (any, error) {
		var text string
		if err := take(args, &text); err != nil {
			return nil, err
		}
		return host("upper", text)
	},
	"count": func(args []json.RawMessage) (any, error) {
		served++
		return served, nil
	},
}

func main() {
	var err error
	if device, err = os.OpenFile("/dev/hyperlight", os.O_RDWR, 0); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	requests = bufio.NewReader(device)
	names := []string{}
	for name := range functions {
		names = append(names, name)
	}
	say(map[string]any{"functions": names})
	for {
		var request call
		if err := read(&request); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if result, err := functions[request.Call](request.Args); err != nil {
			say(map[string]any{"error": err.Error()})
		} else {
			say(map[string]any{"result": result})
		}
	}
}
