"""Says how right an answer is: verifiers that people write and programs that models write, in a sandbox, and what is built in. No torch."""
