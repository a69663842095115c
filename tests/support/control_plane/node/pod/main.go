// What runs in the containers of the tests' node: the sandbox of every pod, and pods that serve, ask and wait.
// One static program, so that an image is this file and nothing else.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

const usage = `pod pause                 wait for SIGTERM or SIGINT; meanwhile bury orphans, as the first process must
pod serve ADDRESS TEXT    answer every request with TEXT and the name of the host
pod get URL [CA TOKEN]    print what URL answers; CA and TOKEN are files
pod cat FILE              print a file
pod write FILE TEXT       write a file`

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(words []string) error {
	if len(words) == 0 {
		return errors.New(usage)
	}
	switch {
	case words[0] == "pause" && len(words) == 1:
		return pause()
	case words[0] == "serve" && len(words) == 3:
		return serve(words[1], words[2])
	case words[0] == "get" && len(words) == 2:
		return get(words[1], "", "")
	case words[0] == "get" && len(words) == 4:
		return get(words[1], words[2], words[3])
	case words[0] == "cat" && len(words) == 2:
		return show(words[1])
	case words[0] == "write" && len(words) == 3:
		return os.WriteFile(words[1], []byte(words[2]), 0o600)
	}
	return errors.New(usage)
}

func pause() error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	for got := range signals {
		if got != syscall.SIGCHLD {
			break
		}
		for {
			// No more children, or none that has ended.
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); err != nil || pid <= 0 {
				break
			}
		}
	}
	return nil
}

func serve(address, text string) error {
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	server := &http.Server{Addr: address, ReadHeaderTimeout: 10 * time.Second}
	server.Handler = http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		fmt.Printf("%s %s\n", request.Method, request.URL.Path)
		fmt.Fprintf(answer, "%s from %s\n", text, name)
	})
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	fmt.Printf("listening on %s\n", address)
	ends := make(chan os.Signal, 1)
	signal.Notify(ends, syscall.SIGINT, syscall.SIGTERM)
	select {
	case <-ends:
		return nil
	case err := <-failed:
		return err
	}
}

func get(url, authority, token string) error {
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	transport := &http.Transport{}
	if authority != "" {
		certificate, err := os.ReadFile(authority)
		if err != nil {
			return err
		}
		secret, err := os.ReadFile(token)
		if err != nil {
			return err
		}
		trusted := x509.NewCertPool()
		if !trusted.AppendCertsFromPEM(certificate) {
			return fmt.Errorf("%s holds no certificate", authority)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: trusted}
		request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(secret)))
	}
	client := &http.Client{Transport: transport, Timeout: 5 * time.Second}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	fmt.Println(answer.Status)
	_, err = io.Copy(os.Stdout, answer.Body)
	return err
}

func show(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.Copy(os.Stdout, file)
	return err
}
