"""The local inference server: one process a project, OpenAI's protocol on the loopback interface. Importing this loads no torch."""
