"""What tests share: made-up inputs, reference implementations, folders."""
