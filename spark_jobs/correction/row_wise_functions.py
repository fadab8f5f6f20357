"""The functions whose value follows from their arguments alone: one row in, one value out, the same at any time.

A list of what is allowed, because nobody knows all that is not: a function that is missing here only costs the whole
date where its keys would have done. Aggregates, windows, generators, whatever knows the time, the file, the session or
chance, and `sum` with a window's meaning or without, stay out.
"""

from __future__ import annotations

_OPERATORS = "== = != <> < <= > >= <=> + - * / % & | ^ ~ ! and or not negative positive div"
_CONDITIONS = (
    "when if ifnull nvl nvl2 nullif coalesce case then else in between like ilike rlike regexp regexp_like isnull"
    " isnotnull isnan nanvl equal_null greatest least nullifzero zeroifnull"
)
_NUMBERS = (
    "abs ceil ceiling floor round bround sign signum sqrt cbrt exp expm1 ln log log10 log1p log2 pow power mod pmod"
    " hex unhex bin conv try_add try_subtract try_multiply try_divide try_mod bit_count shiftleft shiftright"
    " width_bucket"
)
_TEXTS = (
    "ascii base64 unbase64 btrim char char_length character_length chr concat concat_ws contains decode encode endswith"
    " format_number format_string initcap instr lcase left len length levenshtein locate lower lpad ltrim mask md5"
    " octet_length overlay position printf regexp_count regexp_extract regexp_extract_all regexp_instr regexp_replace"
    " regexp_substr repeat replace reverse right rpad rtrim sha sha1 sha2 soundex split split_part startswith substr"
    " substring substring_index translate trim ucase upper url_decode url_encode parse_url crc32 hash xxhash64"
)
_TIMES = (
    "add_months date_add date_diff date_format date_from_unix_date date_part date_sub date_trunc dateadd datediff"
    " datepart day dayname dayofmonth dayofweek dayofyear extract from_utc_timestamp hour last_day make_date"
    " make_timestamp minute month monthname months_between next_day quarter second timestamp_micros timestamp_millis"
    " timestamp_seconds to_date to_timestamp to_utc_timestamp trunc try_to_timestamp unix_date unix_micros unix_millis"
    " unix_seconds weekday weekofyear year"
)
_TYPES = (
    "cast try_cast bigint int integer smallint tinyint boolean string double float decimal dec numeric varchar date"
    " timestamp array map struct named_struct long short byte interval to_number try_to_number"
)
_NESTED = (
    "aggregate array_append array_compact array_contains array_distinct array_except array_intersect array_join"
    " array_max array_min array_position array_prepend array_remove array_repeat array_size array_sort array_union"
    " arrays_overlap arrays_zip cardinality element_at exists filter flatten forall from_json get get_json_object"
    " json_array_length json_object_keys map_concat map_contains_key map_entries map_filter map_from_arrays"
    " map_from_entries map_keys map_values reduce sequence size slice sort_array to_json transform transform_keys"
    " transform_values try_element_at zip_with"
)

FUNCTIONS = frozenset(" ".join([_OPERATORS, _CONDITIONS, _NUMBERS, _TEXTS, _TIMES, _TYPES, _NESTED]).split())
"""In lower case; both engines ignore it. Words that stand before a bracket in SQL text are among them."""
