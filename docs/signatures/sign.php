<?php
// Signs a request to Tributary. Run with a file of test vectors it prints one signature a line.
function sign(array $r): string
{
    $isSigned = fn(string $pair): bool => $pair !== '' && explode('=', $pair)[0] !== 'sig';
    $pairs = array_filter(explode('&', $r['query']), $isSigned);
    sort($pairs, SORT_STRING);
    $canonical = implode("\n", [
        'v1', $r['method'], $r['path'], implode('&', $pairs), $r['timestamp'], $r['nonce'], hash('sha256', $r['body']),
    ]);
    return hash_hmac('sha256', $canonical, $r['secret']);
}

foreach (json_decode(file_get_contents($argv[1]), true)['vectors'] as $vector) {
    echo sign($vector), "\n";
}
