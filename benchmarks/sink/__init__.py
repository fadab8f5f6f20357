"""The sink: beside a consumer that only counts, beside what one would write with pandas, and its memory."""
