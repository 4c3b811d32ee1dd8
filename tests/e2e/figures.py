"""What a test has measured, as a line that `cargo xtask survive` reads into its table."""


def figure(name, value, unit, bar):
    """`name` and `unit` are words; `bar` says what the test asserts of the value."""
    shown = f"{value:.4g}" if isinstance(value, float) else value
    print(f"\nfigure: {name} {shown} {unit} bar {bar}")
